package devstack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/keyorch/keyorch/fault"
)

// logs are the servers' own logs: files, never the terminal.
type logs struct {
	etcd, temporal, vault *os.File
}

func openLogs(dir string) (*logs, error) {
	dir = filepath.Join(dir, "logs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "open logs")
	}
	l := new(logs)
	for name, f := range map[string]**os.File{"etcd": &l.etcd, "temporal": &l.temporal, "vault": &l.vault} {
		var err error
		*f, err = os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fault.Wrap(fault.Unavailable, errors.Join(err, l.close()), "open logs")
		}
	}
	return l, nil
}

func (l *logs) close() error {
	var errs []error
	for _, f := range []*os.File{l.etcd, l.temporal, l.vault} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// zapTo logs warnings and worse to f. A server that gives up says so on stderr
// too, since it takes the process with it and its log is not where people look.
func zapTo(f *os.File) *zap.Logger {
	format := zap.NewProductionEncoderConfig()
	format.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	core := zapcore.NewCore(zapcore.NewJSONEncoder(format), zapcore.AddSync(f), zapcore.WarnLevel)
	// The last goroutines of a stopped server still talk to a closed file.
	silent := zapcore.AddSync(io.Discard)
	return zap.New(core, zap.ErrorOutput(silent), zap.WithFatalHook(lastWords{f.Name()}))
}

type lastWords struct{ log string }

// OnWrite ends the process after a fatal log entry.
func (w lastWords) OnWrite(e *zapcore.CheckedEntry, _ []zapcore.Field) {
	fmt.Fprintf(os.Stderr, "a server of the development stack gave up: %s (see %s)\n", e.Message, w.log)
	os.Exit(1)
}
