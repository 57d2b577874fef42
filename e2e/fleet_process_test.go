package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// clockTick is one tick of the times in /proc/PID/stat: USER_HZ, which is 100 on
// every Linux.
const clockTick = 10 * time.Millisecond

// cpuOf is the processor time that a process has used (Linux, proc(5)).
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// The name, in brackets, may hold anything; after it stand state, ppid, and on.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * clockTick
}

// peakMB is the most memory that a process ever had resident, in MB.
func peakMB(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kb float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %g kB", &kb); n == 1 {
			return kb / 1024
		}
	}
	b.Fatal("no VmHWM")
	return 0
}

// share is how much of one core processes use while the given time passes, in
// percent.
func share(b *testing.B, over time.Duration, pids ...int) (percent []float64) {
	b.Helper()
	before := make([]time.Duration, len(pids))
	for i, pid := range pids {
		before[i] = cpuOf(b, pid)
	}
	begun := time.Now()
	<-time.After(over)
	took := time.Since(begun)
	for i, pid := range pids {
		percent = append(percent, 100*float64(cpuOf(b, pid)-before[i])/float64(took))
	}
	return percent
}

func noError(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
