package schema

// What is tested from outside by itself: the two readers of JSON and of events, which
// are held together, and the writer of scalars.
var (
	ScanJSON     = scanJSON
	DecodeJSON   = decodeJSON
	AppendScalar = appendScalar

	DecodePlain    = decodePlain
	DecodeThorough = decodeThorough
)
