package audit

// Bodies are the records of an entry as they enter the chain.
func Bodies(e Waiting) [][]byte { return bodies(e) }
