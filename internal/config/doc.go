// Package config reads weir.yaml.
//
// The file is one YAML document. Reading is strict: a key that is unknown,
// given twice or left without a value is a problem, and so is a value of
// another type than the key's (a number where text is asked for must stand in
// quotes). Anchors, aliases, merge keys and tags are refused, so a small file
// cannot grow in memory. The file is at most 1 MiB.
//
// All problems are reported at once, as [Problems]: each with the line and
// column of its key, its path in the file and a text for the operator. Nothing
// is half accepted: there is either a complete [Config] or an error.
//
// # Secrets
//
// A secret is written as {env: NAME} or {file: PATH}, never as itself. It is
// looked up once, at load; an unset variable or an unreadable file is a
// problem. No problem's text repeats what stands in a secret's place, and a
// Config prints without secrets. Each path in the file is relative to the
// file's own folder, wherever the process was started.
//
// # Accounts and lanes
//
// A lane either names an account of the accounts list or carries an account's
// settings in its own block; then that account has the lane's name. In a
// Config both look the same: a list of accounts, each with its lanes. Two
// blocks for one provider's workspace or organization are a problem, for
// together they would pass its limit.
//
// # Providers
//
// What differs from one provider to another, the keys it takes and their
// defaults, is one table. A default that depends on the provider is filled in
// where the file has no such key, after the provider is known; a key that the
// provider has no use for is a problem. A lane that names an account has the
// account's provider.
//
// The reference of all keys is docs/configuration.md; a test keeps it complete.
package config
