package schema

import (
	"regexp"
	"strings"
	"unicode"
)

// The patterns of Mask. Each errs towards masking: a harmless number that is
// cut costs less than a person's number in a log.
var (
	// Alternatives in this order: a PEM block, a JWT, a NATS seed, a key with a
	// well-known prefix.
	secretShape = regexp.MustCompile(`-----BEGIN [^-]*-----[^-]*(?:-----END [^-]*-----)?` +
		`|eyJ[\w-]{4,}(?:\.[\w-]*)+` +
		`|\bS[ACNOUX][A-Z2-7]{50,}` +
		`|\b(?:sk|pk|rk|ak|tok|pat|whsec|ghp|gho|ghs|github_pat|glpat|xox[abprs])[-_][\w-]{10,}` +
		`|\bAKIA[0-9A-Z]{12,}`)
	userPart = regexp.MustCompile(`(://[^\s/?#@:]*):[^\s/?#@]+@`)
	scheme   = regexp.MustCompile(`(?i)\b(bearer|basic|digest)([ \t]+)[\w.~+/=-]{8,}`)
	// A name that promises a secret, then its value.
	named = regexp.MustCompile(`(?i)((?:api[-_ ]?key|x-public-key|authorization|[\w-]*(?:token|secret|password|passwd|credential))` +
		`\\?["']?[ \t]*[:=][ \t]*\\?["']?)(?:(?:bearer|basic|digest)[ \t]+)?[^\s"'\\,;&}]+`)

	// The part before the last at sign goes, quoted or not.
	email = regexp.MustCompile(`(?:(?:"[^"\n]*"(?:@|%40))*[^\s"'<>(),;:=\[\]{}\\]+|"[^"\n]*")(?:@|%40)(\[[^\]@\s]*\]|[\p{L}\p{N}][\p{L}\p{N}.-]*)`)

	// Seven digits or more, with what people write between them.
	number = regexp.MustCompile(`[+＋(]*\p{Nd}(?:[ \t().\-/·\x{2010}-\x{2015}\x{a0}\x{2009}\x{202f}]{0,3}\p{Nd}){6,}`)
	// What holds such digits and is nobody's number: a UUID; a date, with or
	// without a time.
	harmless = regexp.MustCompile(`\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b` +
		`|\b(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])` +
		`(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d\d:\d\d)?)?\b`)
)

// Mask returns s with what must not be shown taken out: a phone number becomes
// its last two digits (…45), an e-mail address its domain (…@example.com), a
// credential [redacted]. UUIDs and dates stay. It takes any text, also an error
// of another program, and rather masks too much.
func Mask(s string) string {
	if word(s) {
		return s
	}
	return mask(s)
}

// word reports whether a text is a word that no pattern of Mask is about, such as a
// provider's status: the shortest credential has 13 characters, sk_ among them.
func word(s string) bool {
	for _, c := range []byte(s) {
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return len(s) <= 12
}

func mask(s string) string {
	s = named.ReplaceAllString(s, "${1}"+redacted)
	s = scheme.ReplaceAllString(s, "${1}${2}"+redacted)
	s = userPart.ReplaceAllString(s, "${1}:"+redacted+"@")
	s = secretShape.ReplaceAllString(s, redacted)
	s = email.ReplaceAllString(s, "…@${1}")
	return maskNumbers(s)
}

func maskNumbers(s string) string {
	keep := harmless.FindAllStringIndex(s, -1)
	var b strings.Builder
	end := 0
	for _, m := range number.FindAllStringIndex(s, -1) {
		for len(keep) > 0 && keep[0][1] <= m[0] {
			keep = keep[1:]
		}
		// A run of digits that reaches beyond the date is a number all the same.
		if len(keep) > 0 && keep[0][0] <= m[0] && m[1] <= keep[0][1] {
			continue
		}
		b.WriteString(s[end:m[0]])
		b.WriteString(MaskNumber(s[m[0]:m[1]]))
		end = m[1]
	}
	b.WriteString(s[end:])
	return b.String()
}

// MaskNumber returns a phone number as its last two digits, such as …45. What
// has fewer than five digits is hidden whole; the empty string stays empty.
func MaskNumber(s string) string {
	if s == "" {
		return ""
	}
	var digits []rune
	for _, r := range s {
		if unicode.IsDigit(r) {
			digits = append(digits, r)
		}
	}
	if len(digits) < 5 {
		return "…"
	}
	return "…" + string(digits[len(digits)-2:])
}
