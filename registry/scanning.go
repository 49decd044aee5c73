package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

// scanSetting is the account setting that has the scanning configuration, as
// JSON of ecr.ScanConfiguration. No operation on settings shows it.
const scanSetting = "scanning configuration"

// ScanQueue is the queue of jobs that scan an image (their key is its row), and
// of those that look at all images of an account after its configuration has
// changed ("account/" and the account).
const ScanQueue = "scan"

// LayerQueue is the queue of jobs that make the inventory of a layer; their key
// is its digest.
const LayerQueue = "scan/layer"

// enhancedAge is how old an image may be that is scanned because enhanced
// scanning begins (ECR user guide, "Enhanced scanning").
const enhancedAge = 14 * 24 * time.Hour

// scanConfiguration returns that of an account.
func scanConfiguration(tx *meta.Tx, account string) (c ecr.ScanConfiguration, err error) {
	text, err := tx.Setting(account, scanSetting)
	if errors.Is(err, meta.ErrNotFound) {
		return ecr.ScanConfiguration{Type: ecr.ScanBasic}, nil
	}
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return c, fmt.Errorf("scanning configuration of %s: %w", account, err)
	}
	return c, nil
}

// GetRegistryScanningConfiguration returns how images of the caller's account
// are scanned.
func (r *Registry) GetRegistryScanningConfiguration(ctx context.Context, c ecr.Caller) (cfg ecr.ScanConfiguration, err error) {
	const action = "ecr:GetRegistryScanningConfiguration"
	err = r.db.View(ctx, func(tx *meta.Tx) (err error) {
		if err := r.allowAll(tx, c, action, c.Account); err != nil {
			return err
		}
		cfg, err = scanConfiguration(tx, c.Account)
		return err
	})
	return cfg, r.denied(ctx, c, action, ecr.RepositoryID{Account: c.Account}, err)
}

// PutRegistryScanningConfiguration sets how images of the caller's account are
// scanned from now on. Where that is enhanced, images of the last 14 days are
// scanned that the rules are for.
func (r *Registry) PutRegistryScanningConfiguration(ctx context.Context, c ecr.Caller, cfg ecr.ScanConfiguration) (ecr.ScanConfiguration, error) {
	if cfg.Type == "" {
		cfg.Type = ecr.ScanBasic
	}
	if err := checkScanConfiguration(cfg); err != nil {
		return cfg, err
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		return cfg, err
	}
	return cfg, r.updateRegistry(ctx, c, "ecr:PutRegistryScanningConfiguration", c.Account, func(tx *meta.Tx) error {
		if err := tx.PutSetting(c.Account, scanSetting, string(text)); err != nil {
			return err
		}
		now := r.now()
		return tx.Enqueue(ScanQueue, accountKey+c.Account, nil, now, now)
	})
}

func checkScanConfiguration(cfg ecr.ScanConfiguration) error {
	seen := map[ecr.ScanFrequency]bool{}
	for _, rule := range cfg.Rules {
		if seen[rule.Frequency] {
			return ecr.Errorf(ecr.Validation, "There can be one rule only with the scan frequency %s: put its filters together", rule.Frequency)
		}
		seen[rule.Frequency] = true
		switch {
		case cfg.Type == ecr.ScanBasic && rule.Frequency == ecr.ScanContinuous:
			return ecr.Errorf(ecr.Validation, "The scan frequency %s is not supported with the scan type BASIC", rule.Frequency)
		case cfg.Type == ecr.ScanEnhanced && rule.Frequency == ecr.ScanManual:
			return ecr.Errorf(ecr.Validation, "The scan frequency %s is not supported with the scan type ENHANCED", rule.Frequency)
		}
	}
	return nil
}

// A RepositoryScanning is how images of a repository are scanned.
type RepositoryScanning struct {
	Repository ecr.RepositoryID
	Frequency  ecr.ScanFrequency
	Filters    []string
}

// BatchGetRepositoryScanningConfiguration returns how images of repositories of
// the caller's account are scanned, and the names of those that do not exist.
func (r *Registry) BatchGetRepositoryScanningConfiguration(ctx context.Context, c ecr.Caller, names []string) (list []RepositoryScanning, missing []string, err error) {
	const action = "ecr:BatchGetRepositoryScanningConfiguration"
	id := ecr.RepositoryID{Account: c.Account}
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		cfg, err := scanConfiguration(tx, c.Account)
		if err != nil {
			return err
		}
		for _, id.Name = range names {
			repo, err := tx.Repository(id)
			if err := r.decide(tx, c, action, id, repo, nil, err); isCode(err, ecr.RepositoryNotFound) {
				missing = append(missing, id.Name)
				continue
			} else if err != nil {
				return err
			}
			f, filters := cfg.For(id.Name, repo.ScanOnPush)
			list = append(list, RepositoryScanning{id, f, filters})
		}
		return nil
	})
	if err != nil {
		return nil, nil, r.denied(ctx, c, action, id, err)
	}
	return list, missing, nil
}

// isCode reports whether err is one that the caller may know, with this code.
func isCode(err error, code ecr.Code) bool {
	var e *ecr.Error
	return errors.As(err, &e) && e.Code == code
}
