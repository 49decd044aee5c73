package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/daemon"
)

func newServe() *cobra.Command {
	cfg := new(daemon.Config)
	var file string
	var printConfig bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the registry",
		Long: "Run the registry.\n\nEvery setting is a flag, an ECRU_… variable (--gc-grace is ECRU_GC_GRACE) and a line of the\n" +
			"configuration file (gc-grace: 24h); flags win over variables, and those over the file. SIGHUP reads the\n" +
			"TLS certificate again; SIGTERM stops, and a second one stops at once. Exit status: 0 if it stopped because\n" +
			"it was told to, 1 for an error.",
		Example: "  ecru serve\n" +
			"  ecru serve --listen 127.0.0.1:5000 --data /var/lib/ecru --region us-east-1 --account 123456789012\n" +
			"  ecru serve --config /etc/ecru.yaml --print-config",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := load(cmd, file)
			if err != nil {
				return err
			}
			if printConfig {
				_, err := fmt.Fprint(cmd.OutOrStdout(), daemon.Print(settings(cmd), from))
				return err
			}
			log, err := newLog(os.Stderr, cfg.LogLevel, cfg.LogFormat)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), *cfg, log, cmd.OutOrStdout())
		},
	}
	cfg.Flags(cmd.Flags())
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML)")
	cmd.Flags().BoolVar(&printConfig, "print-config", false, "print the settings in force, with where each comes from, and end")
	return cmd
}

func serve(ctx context.Context, cfg daemon.Config, log *slog.Logger, out io.Writer) error {
	srv, err := daemon.Start(ctx, cfg, log, out)
	if err != nil {
		return err
	}
	tellNext(out, cfg, srv)
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-reload:
				if err := srv.Reload(); err != nil {
					log.Error("the certificate was not reloaded, the old one stays", "error", err)
				} else {
					log.Info("reloaded")
				}
			}
		}
	}()
	// The first signal ended ctx; from then on another one means at once.
	hurry, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-ctx.Done()
		again, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		<-again.Done()
		cancel()
	}()
	return srv.Serve(ctx, hurry)
}

// tellNext prints where the server is and what to type next.
func tellNext(out io.Writer, cfg daemon.Config, srv *daemon.Server) {
	self, data := word(os.Args[0]), word(cfg.Data)
	host := strings.TrimPrefix(strings.TrimPrefix(srv.URL(), "https://"), "http://")
	fmt.Fprintf(out, "Ecru serves %s in region %s, account %s.\n", srv.URL(), cfg.Region, cfg.Account)
	if m := srv.MetricsURL(); m != "" {
		fmt.Fprintf(out, "Metrics and profiles: %s\n", m)
	}
	if cfg.TLSSelfSigned {
		ca := filepath.Join(cfg.Data, daemon.CAFile)
		if abs, err := filepath.Abs(ca); err == nil {
			ca = abs
		}
		fmt.Fprintf(out, "Its certificate is signed by %s. To trust it:\n"+
			"  docker: mkdir -p /etc/docker/certs.d/%[2]s && cp %[3]s /etc/docker/certs.d/%[2]s/ca.crt\n"+
			"  podman: mkdir -p /etc/containers/certs.d/%[2]s && cp %[3]s /etc/containers/certs.d/%[2]s/ca.crt\n"+
			"  aws:    ecru env sets AWS_CA_BUNDLE\n", ca, host, word(ca))
	}
	fmt.Fprintf(out, "Type next, in another terminal:\n\n"+
		"  eval \"$(%[1]s env --data %[2]s)\" && %[1]s login\n"+
		"  aws ecr create-repository --repository-name hello --endpoint-url \"$AWS_ENDPOINT_URL\"\n"+
		"  tar c %[1]s | docker import - %[3]s/hello:v1 && docker push %[3]s/hello:v1 && docker pull %[3]s/hello:v1\n\n",
		self, data, host)
}

func newLog(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log-level: %q is not debug, info, warn or error", level)
	}
	opt := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opt)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opt)), nil
	}
	return nil, fmt.Errorf("log-format: %q is not text or json", format)
}
