// Package ecr holds the nouns that every floor of Ecru shares.
//
// # Dictionary
//
//   - Registry: what one account has in one region. A server is one region; an
//     account is twelve digits and is also the registry's ID.
//   - Repository: a named list of images in a registry. Names are unique in an
//     account.
//   - Image: one manifest, named by its digest. An image index ("manifest
//     list") is an image too, and so are its children and its referrers.
//   - Tag: a name in a repository that points at one image.
//   - Layer: a blob, named by its digest; configs are layers too, as in ECR.
//     The bytes are stored once in a region and are readable only through a
//     repository that links them.
//   - Referrer: an image whose manifest names another image as its subject.
//   - Upload: a layer on its way in; a row with a deadline.
//   - Caller: who asks, on whose behalf, from where. Principal, action,
//     resource, policy and statement are as in IAM.
//   - Event: one thing that happened, kept in the event log.
//
// OCI's words (blob, manifest, reference) belong to the OCI edge.
package ecr
