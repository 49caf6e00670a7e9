package broker

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// serverLog passes the embedded server's log on. What the server calls fatal
// does not end the process: it is the reason that the start failed.
type serverLog struct {
	lg    zerolog.Logger
	fatal chan string
}

var _ server.Logger = (*serverLog)(nil)

// Noticef implements server.Logger. The server's notices are details to Weir.
func (l *serverLog) Noticef(format string, v ...any) { l.write(l.lg.Debug(), format, v) }

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, v ...any) { l.write(l.lg.Warn(), format, v) }

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, v ...any) { l.write(l.lg.Error(), format, v) }

// Fatalf implements server.Logger.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.write(l.lg.Error(), format, v)
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
}

// Debugf implements server.Logger.
func (l *serverLog) Debugf(format string, v ...any) { l.write(l.lg.Debug(), format, v) }

// Tracef implements server.Logger.
func (l *serverLog) Tracef(format string, v ...any) { l.write(l.lg.Trace(), format, v) }

func (l *serverLog) write(e *zerolog.Event, format string, v []any) {
	e.Str("text", fmt.Sprintf(format, v...)).Msg("embedded broker")
}

// await waits until the server takes connections.
func (l *serverLog) await(s *server.Server) error {
	deadline := time.Now().Add(startTimeout)
	for !s.ReadyForConnections(50 * time.Millisecond) {
		select {
		case text := <-l.fatal:
			return errors.New(text)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready within %v", startTimeout)
		}
	}
	select {
	case text := <-l.fatal:
		return errors.New(text)
	default:
		return nil
	}
}
