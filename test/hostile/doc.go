// Package hostile sends a running Ecru what no honest client sends.
package hostile
