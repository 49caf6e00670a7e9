package schema

// What is tested from outside by itself: the two readers of JSON, which are held
// together, and the writer of scalars.
var (
	ScanJSON     = scanJSON
	DecodeJSON   = decodeJSON
	AppendScalar = appendScalar
)
