package evidence

import (
	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// File is what another program wants to read from a file of its own.
type File struct {
	Name string
	Data []byte
}

// Unpack gives the statements of the consents and their signatures as ssh-keygen reads
// them: ID.statement, and ID.WHO.sig for each who signed it. No name leads out of the directory
// that they are put into. Faults: Invalid.
func (c Case) Unpack() ([]File, error) {
	var files []File
	for _, one := range c.Consents {
		if err := approval.ValidID(one.ID); err != nil {
			return nil, err
		}
		files = append(files, File{one.ID + ".statement", []byte(one.Statement)})
		for _, s := range one.Signatures {
			if _, err := identity.ParseCommonName(s.By); err != nil {
				return nil, fault.Wrap(fault.Invalid, err, "unpack the signatures of %s", one.ID)
			}
			files = append(files, File{one.ID + "." + s.By + ".sig", []byte(s.Signature)})
		}
	}
	return files, nil
}
