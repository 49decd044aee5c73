package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ecruhq/ecru/identity"
)

// Files of the data folder that others read.
const (
	keyFile         = "master.key"
	databaseFile    = "meta.db"
	CredentialsFile = "root-credentials" // the root access key, in the form of ~/.aws/credentials
	EndpointFile    = "endpoint"         // the server's URL
	RegionFile      = "region"           // and its region
	CAFile          = "tls/ca.crt"
)

// writeFile writes a file so that after power loss it is whole or not there:
// a temporary file, fsync, rename, fsync of the folder.
func writeFile(path string, data []byte, mode fs.FileMode) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, writeErr := f.Write(data)
	if err := errors.Join(writeErr, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// makeFolder makes the data folder, readable by its owner only.
func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}

// keyring returns the master keys: those of the configuration, or of the data
// folder, where one is made if there is none and create says so. With create,
// keys of the folder are wrapped by the key service, if there is one.
func (c *Config) keyring(ctx context.Context, create bool) (*identity.Keyring, error) {
	if c.MasterKey != "" {
		k, err := identity.ParseKeyring(c.MasterKey)
		if err != nil {
			return nil, fmt.Errorf("master-key: %w", err)
		}
		return k, nil
	}
	path := filepath.Join(c.Data, keyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && create {
		if _, err := os.Stat(filepath.Join(c.Data, databaseFile)); err == nil {
			return nil, fmt.Errorf("%s is gone, which the database beside it was sealed with: bring it back from its copy", path)
		}
		text = []byte("# Seals every secret of this server. Keep a copy apart from the data folder's backup.\n" + identity.NewMasterKey() + "\n")
		err = nil
		if c.MasterKeyWrap == "" { // else it is written when it is wrapped
			err = writeFile(path, text, 0o600)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	service, err := c.keyService(ctx)
	if err != nil {
		return nil, err
	}
	plain, file, err := unwrapKeys(ctx, service, string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	k, err := identity.ParseKeyring(plain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if create && service != nil && file != string(text) {
		if err := writeFile(path, []byte(file), 0o600); err != nil {
			return nil, fmt.Errorf("keep the master key: %w", err)
		}
	}
	return k, nil
}

// writeCredentials keeps the root access key for the owner of the data folder.
func (c *Config) writeCredentials(id, secret string) error {
	text := "# The access key of the root user of account " + c.Account + ". It may do everything: keep it for setting up.\n" +
		"[default]\naws_access_key_id = " + id + "\naws_secret_access_key = " + secret + "\n"
	return writeFile(filepath.Join(c.Data, CredentialsFile), []byte(text), 0o600)
}

// ReadCredentials reads the root access key from a data folder.
func ReadCredentials(data string) (id, secret string, err error) {
	text, err := os.ReadFile(filepath.Join(data, CredentialsFile))
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(name) {
		case "aws_access_key_id":
			id = strings.TrimSpace(value)
		case "aws_secret_access_key":
			secret = strings.TrimSpace(value)
		}
	}
	if id == "" || secret == "" {
		return "", "", fmt.Errorf("%s has no access key", filepath.Join(data, CredentialsFile))
	}
	return id, secret, nil
}
