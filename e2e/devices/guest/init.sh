#!/usr/bin/dash
# The first process of the guest. It says on the console how far it came.
# busybox gives the tools that are not Debian's own. It stands last in the PATH,
# so that its own ip and ping are not found.
export PATH=/disk/bin:/usr/sbin:/usr/bin:/usr/lib/busybox
/bin/busybox --install -s /usr/lib/busybox
ln -s /usr/bin/dash /bin/sh
ln -s /bin/busybox /sbin/modprobe # the kernel calls it to load ciphers
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /run /var
mount -t devpts pts /dev/pts
mount -t tmpfs run /run
mkdir -p /run/netns
ln -sf /run /var/run
for m in virtio_pci virtio_blk virtio_net crc32c_generic ext4; do modprobe $m; done

# Waits for a device file, which comes a moment after its module.
await() { i=0; while [ ! -e "$1" ] && [ $i -lt 100 ]; do sleep 0.05; i=$((i + 1)); done; }
await /dev/vda
mount -t ext4 /dev/vda /disk
mkdir -p /disk/keep
await /sys/class/net/eth0
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0 # the address that QEMU has for its guest
ip route add default via 10.0.2.2
echo "127.0.0.1 localhost" > /etc/hosts
echo "guest: $(uname -r) up after $(cut -d' ' -f1 /proc/uptime) s"
export HOME=/run
/disk/bin/guestd
echo "guest: guestd ended with $?"
poweroff -f
