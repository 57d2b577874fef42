package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/keyorch/keyorch/fault"
)

// format is the value of -o.
type format string

const (
	asTable format = "table"
	asJSON  format = "json"
	asYAML  format = "yaml"
	// asNothing is for what another output follows.
	asNothing format = ""
)

// String, Set and Type make it a flag.
func (f *format) String() string { return string(*f) }

// Type is what --help calls it.
func (f *format) Type() string { return "table|json|yaml" }

// Set refuses what is no format.
func (f *format) Set(s string) error {
	switch format(s) {
	case asTable, asJSON, asYAML:
		*f = format(s)
		return nil
	}
	return fmt.Errorf("use table, json or yaml")
}

func formatFlag(c *cobra.Command) *format {
	f := asTable
	c.Flags().VarP(&f, "output", "o", "how to print")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(
		[]string{string(asTable), string(asJSON), string(asYAML)}, cobra.ShellCompDirectiveNoFileComp))
	return &f
}

// quiet is f for people, and nothing for programs.
func (f format) quiet() format {
	if f == asTable {
		return f
	}
	return asNothing
}

// print writes v as JSON or YAML.
func (f format) print(w io.Writer, v any) error {
	if f == asNothing {
		return nil
	}
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fault.Wrap(fault.Unknown, err, "print result")
	}
	if f == asYAML {
		// YAML is made from the JSON, so that both have the same names.
		var plain any
		if err := json.Unmarshal(data, &plain); err != nil {
			return fault.Wrap(fault.Unknown, err, "print result")
		}
		if data, err = yaml.Marshal(plain); err != nil {
			return fault.Wrap(fault.Unknown, err, "print result")
		}
		_, err = w.Write(data)
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", data)
	return err
}

// table prints rows under a header, in columns.
func table(w io.Writer, header []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	_, _ = fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, r := range rows {
		_, _ = fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	_ = t.Flush()
}

// age is how long ago t was, as kubectl writes it.
func age(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	switch d := now.Sub(t); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// dash stands for nothing in a table.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
