package job

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		var runs []time.Duration
		done := make(chan struct{})
		go func() {
			defer close(done)
			Every(ctx, slog.New(slog.DiscardHandler), "test", time.Minute, func(context.Context) error {
				runs = append(runs, time.Since(start))
				switch len(runs) {
				case 1:
					return errors.New("a failure does not end it")
				case 2:
					panic("nor does a panic")
				case 3:
					time.Sleep(time.Hour)
				}
				return nil
			})
		}()
		time.Sleep(2 * time.Hour)
		cancel()
		<-done
		if runs[0] > time.Minute {
			t.Errorf("first run after %v, want within the interval", runs[0])
		}
		for i, gap := range []time.Duration{runs[1] - runs[0], runs[2] - runs[1], runs[3] - runs[2] - time.Hour} {
			if gap < 54*time.Second || gap > 66*time.Second {
				t.Errorf("gap %d is %v, want a minute give or take a tenth", i, gap)
			}
		}
		n := len(runs)
		time.Sleep(time.Hour)
		if len(runs) != n {
			t.Error("it ran after its context had ended")
		}
	})
}
