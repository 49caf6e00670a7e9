package main

import (
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/tracing"
)

// newTracing returns what makes spans; nil: the file asks for none.
func newTracing(lg zerolog.Logger, cfg *config.Config) *tracing.Tracing {
	if cfg.Traces == nil {
		return nil
	}
	// What the library has to say by itself goes to the log; else it goes to a logger
	// of its own.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { lg.Warn().Err(err).Msg("traces") }))
	tc := tracing.Config{Endpoint: cfg.Traces.Endpoint, Percent: cfg.Traces.Percent, Version: version, Instance: uuid.NewString(), Headers: make(map[string]string)}
	for _, h := range cfg.Traces.Headers {
		tc.Headers[h.Name] = h.Value.Reveal()
	}
	t, err := tracing.New(lg, tc)
	if err != nil { // the file was checked
		lg.Error().Err(err).Msg("nothing is traced")
		return nil
	}
	return t
}
