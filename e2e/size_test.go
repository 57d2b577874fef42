package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const (
	mostBinary = 60 << 20 // bytes
	mostAgent  = 46 << 10 // kB resident, idle
)

// TestSizes holds the binary and an idle agent to what was promised for them.
func TestSizes(t *testing.T) {
	w := rotatingWorld(t)
	info, err := os.Stat(binary)
	must(t, err)
	resident := residentKB(t, w.agents["dc2"].PID())
	t.Logf("binary %.1f MB, agent of two nodes %.1f MB resident", float64(info.Size())/(1<<20), float64(resident)/(1<<10))
	if info.Size() > mostBinary {
		t.Errorf("the binary has %d bytes, at most %d are allowed", info.Size(), mostBinary)
	}
	if resident > mostAgent {
		t.Errorf("an agent has %d kB resident, at most %d are allowed", resident, mostAgent)
	}
}

// residentKB is how much of a process is in memory (Linux, proc(5)).
func residentKB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(status)) {
		var kb int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			return kb
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
