// Package schema is what Weir knows of events: how a message becomes one, what
// its data must hold, what request a route makes of it, and what of it may be
// shown.
//
// # Messages
//
// [Decode] reads a message of NATS or HTTP. Headers come as map[string][]string,
// their names in any case. A Content-Type that begins with
// application/cloudevents means structured mode, whatever else is there; then
// ce-specversion means binary mode; then a JSON object with a specversion is
// structured. A batch is refused: one message is one event.
//
// Lenient: the datacontenttype of binary mode may be in ce-datacontenttype
// (which wins) or in Content-Type; a header may be a quoted string, and a percent
// sign in it that begins no %XX stands for itself, since the SDKs of CloudEvents
// encode no headers; optional attributes may be null; a byte order mark may come
// first; T and Z of a time may be small; data may be in data_base64 whatever it is.
//
// Strict, each with a reason in plain words: version 1.0 only; id, source and
// type are there; no empty attribute; names are small letters and digits; no
// control characters; headers are percent-encoded UTF-8, decoded once; data is
// JSON if its type is, or if it has none; no second member or header of the same
// name, because two readers could take a different one; no data beside
// data_base64; nothing after the end; at most 64 levels of data, 256 attributes
// and 4 KiB an attribute.
//
// [Encode] writes what the NATS binding (1.0.3-wip) says. Decode reads it back as
// the same event. In binary mode headers carry text alone, so an extension that
// was a number or a bool comes back as its text.
//
// [Digest] tells one content from another; its form never changes, since ledgers
// hold it.
//
// # Refusals
//
// What cannot become a conversation is a [Refusal]: a [Class] for the machine,
// and a Field and Reason for a salesperson, with numbers and addresses masked. An
// event whose routes all have a condition that does not hold is a [Skip].
//
// # Routes
//
// [CompileRoutes] reads the routes of a lane. The first whose type matches and
// whose condition holds makes the request. In a type * stands for any text. A
// string of the request may hold ${ expression }; a string that is just one
// expression keeps its type (number, bool, object, list), otherwise the results
// are put into the text; $${ is ${ as text. Keys and values of other types are
// used as they are.
//
// An expression (github.com/expr-lang/expr) sees
//
//	data                          the event's data; whole numbers stay whole
//	id, source, type              text
//	subject, time                 text, or nil; time in RFC 3339, UTC
//	dataschema, datacontenttype   text, or nil
//	extensions                    all extensions: extensions.mine
//	weirlane, notbefore, …        the well-known extensions by name
//
// and has the operators of expr but for ranges, variables and loops, and these
// functions: has(x), which means there, not null and not ""; len, lower, upper,
// trim, string, int, float, json, split(text, at), join(list, with),
// replace(text, old, new). A name or function that is none of these is an error
// at load.
//
// What is not there is nil, at any depth, and x ?? y is y if x is nil. Where true
// or false is asked for, nil is false. A field that ends as nil refuses the event
// and names what is missing; so does a condition that fails.
//
// Each expression is bounded: 4,096 bytes, 500 nodes, no loops, 1 MiB of any
// text that it makes, 16 MiB of what it gives.
//
// A route of conversation.requested may list fields that the event's data gives
// itself (RouteSource.Passthrough). Any other one in the data is refused by name; so
// is what the request fixes, Weir's own marks, and too much. Objects that both give
// are merged, and an expression of the route has the last word.
//
// # Schemas
//
// [NewCatalog] has the built-in schemas of event data; [CompileCatalog] adds a
// user's own, which come on top of them.
//
// # What may be shown
//
// [Mask] makes any text fit for a log, and [Secret] is a credential that does not
// show itself.
package schema
