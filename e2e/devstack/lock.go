package devstack

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/keyorch/keyorch/fault"
)

// lockDir takes the data directory for this stack until the lock is closed or
// the process ends, however it ends. A directory in use is Refused, with who
// uses it: two servers on one storage would destroy it.
func lockDir(dir string) (*flock.Flock, error) {
	path := filepath.Join(dir, "lock")
	lock := flock.New(path, flock.SetPermissions(0o600))
	got, err := lock.TryLock()
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "lock %s", dir)
	}
	if !got {
		who := "another process"
		if raw, err := os.ReadFile(path); err == nil && len(raw) > 0 {
			who = strings.TrimSpace(string(raw))
		}
		return nil, fault.New(fault.Refused, "lock %s: in use by %s", dir, who)
	}
	line := ownProcess() + " since " + time.Now().Format(time.RFC3339) + "\n"
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		_ = lock.Close()
		return nil, fault.Wrap(fault.Unavailable, err, "lock %s", dir)
	}
	return lock, nil
}
