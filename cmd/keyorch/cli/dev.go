package cli

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/fault"
)

// devProgram is built from the e2e module and is no part of a release.
const devProgram = "keyorch-dev"

func (a *app) devVerb() *cobra.Command {
	return &cobra.Command{
		Use:                "dev ...",
		Short:              "Hand over to keyorch-dev, the servers in one process, when it is installed",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := exec.LookPath(devProgram)
			if errors.Is(err, exec.ErrNotFound) {
				return fault.New(fault.Refused, "find %s: it is not installed: run make build, and put bin/ into PATH", devProgram)
			}
			if err != nil {
				return fault.Wrap(fault.Refused, err, "find %s", devProgram)
			}
			return fault.Wrap(fault.Refused, syscall.Exec(path, append([]string{devProgram}, args...), os.Environ()), "run %s", devProgram)
		},
	}
}
