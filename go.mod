module github.com/keyorch/keyorch

go 1.26.0
