// Package crash kills a running Ecru under load and checks that nothing acknowledged is lost.
package crash
