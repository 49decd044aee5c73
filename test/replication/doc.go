// Package replication has regions as processes that replicate to each other,
// over lines that tests cut and delay.
package replication
