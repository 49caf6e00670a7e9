package schema

// What is tested from outside by itself: the two readers of JSON and of events, which
// are held together, the writer of scalars, and the patterns of Mask.
var (
	MaskByPatterns = mask

	ScanJSON     = scanJSON
	DecodeJSON   = decodeJSON
	AppendScalar = appendScalar

	DecodePlain    = decodePlain
	DecodeThorough = decodeThorough
)
