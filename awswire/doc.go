// Package awswire is AWS's wire protocols as a server needs them: it decodes
// requests into the official SDK's Input structs and encodes its Output
// structs and exceptions, driven by a service's public API model. The JSON
// protocol (1.0 and 1.1) is here.
//
// A request goes through four steps: wire form → tree of values → validation
// by the model → assignment by reflection. The tree and the last two steps know
// no protocol; the tree keeps presence visible, so that an absent member and
// an empty one differ. An output goes the other way without a tree: each
// protocol walks the Go value along its plan.
//
// Plans are made once, by Bind. A member that the model has and the Go type
// lacks, or the other way round, is an error there and not at a request.
//
// Decisions on what the protocol leaves open:
//   - Members that the model does not know are ignored, as AWS does, but they
//     must be well-formed and count against the bounds.
//   - A null member is absent. A null in a list or map is an error.
//   - Member names are compared exactly, with case.
//   - A name that stands twice in one object is an error, as are invalid
//     UTF-8, an unpaired surrogate and bytes after the document.
//   - An empty body is an empty object.
//   - Containers nest MaxDepth deep and one request has MaxValues values at
//     most. The size of the body is bounded by who reads it.
//   - Lengths of strings are counted in characters (code points), those of
//     blobs in bytes. Patterns match the whole string.
package awswire
