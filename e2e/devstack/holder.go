package devstack

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// portHolder names the process that listens on a TCP port, like "pid 812
// (etcd)". It is empty where the system does not say, as away from Linux or for
// another user's process.
func portHolder(port int) string {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		for _, inode := range listening(table, port) {
			if pid := socketOwner(inode); pid != "" {
				return processName(pid)
			}
		}
	}
	return ""
}

// listening gives the socket inodes that listen on port. The table's columns
// are described in proc_pid_net(5): local address, state and inode.
func listening(table string, port int) []string {
	const local, state, inode, listen = 1, 3, 9, "0A"
	f, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer f.Close()
	want := fmt.Sprintf(":%04X", port)
	var found []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		col := strings.Fields(lines.Text())
		if len(col) > inode && col[state] == listen && strings.HasSuffix(col[local], want) {
			found = append(found, col[inode])
		}
	}
	return found
}

func socketOwner(inode string) string {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // an unreadable process is left out
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == "socket:["+inode+"]" {
			return strings.Split(link, "/")[2]
		}
	}
	return ""
}

// processName is "pid N (program)", or just "pid N".
func processName(pid string) string {
	comm, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return "pid " + pid
	}
	return "pid " + pid + " (" + strings.TrimSpace(string(comm)) + ")"
}

func ownProcess() string { return processName(strconv.Itoa(os.Getpid())) }
