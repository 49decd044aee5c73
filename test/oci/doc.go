// Package oci runs the official conformance suite of the OCI Distribution Specification against a running Ecru.
package oci
