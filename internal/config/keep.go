package config

import "time"

const day = 24 * time.Hour

// longest is the most that anything is kept.
const longest = 10 * 365 * day

// Events are those that are done, in their stream.
type Events struct {
	// Keep is how long they stay, 96h to 87600h, and at least a day below
	// ledger.keep; default 168h (7 days). A schedule that was lost is restored from
	// there, and an event may wait for three days.
	Keep time.Duration `yaml:"keep"`
}

func (e *Events) defaults() { e.Keep = 7 * day }

// Dead are the dead letters.
type Dead struct {
	// Keep is how long, 24h to 87600h, before they are dropped; default 0: until
	// somebody does.
	Keep time.Duration `yaml:"keep"`
}

func (*Dead) defaults() {}

// ToldOutcomes are the outcomes as they were published.
type ToldOutcomes struct {
	// Keep is how long they stay, 48h to 87600h, at least five days below
	// ledger.keep and a day above each lane's outcomes.give_up; default 720h
	// (30 days).
	Keep time.Duration `yaml:"keep"`
}

func (o *ToldOutcomes) defaults() { o.Keep = 30 * day }

// block is the block of a file, or that of a file without it.
func block[T any, P interface {
	*T
	defaults()
}](b *T) T {
	if b == nil {
		b = new(T)
		P(b).defaults()
	}
	return *b
}

// keeps checks how long what is done is kept. The ledger outlives what it is checked
// by: an event, or an outcome, whose entry is gone looks like a loss.
func (d *decoder) keeps(f *file, cfg *Config) {
	cfg.Ledger, cfg.Events, cfg.Dead, cfg.Outcomes = block(f.Ledger), block(f.Events), block(f.Dead), block(f.Outcomes)
	memory := cfg.Ledger.Keep
	within(d, "ledger.keep", memory, 35*day, longest)
	within(d, "events.keep", cfg.Events.Keep, 4*day, longest)
	within(d, "outcomes.keep", cfg.Outcomes.Keep, 2*day, longest)
	if cfg.Dead.Keep != 0 {
		within(d, "dead.keep", cfg.Dead.Keep, day, longest)
	}
	if cfg.Events.Keep > memory-day && memory >= 35*day {
		d.add("events.keep", "must be at least a day below ledger.keep, which is %s", spell(memory))
	}
	if cfg.Outcomes.Keep > memory-5*day && memory >= 35*day {
		d.add("outcomes.keep", "must be at least five days below ledger.keep, which is %s", spell(memory))
	}
}

// checkDeliveries refuses to try an outcome for longer than it is kept.
func (d *decoder) checkDeliveries(cfg *Config) {
	for _, ac := range cfg.Accounts {
		for _, lc := range ac.Lanes {
			if o := lc.Outcomes; o != nil && cfg.Outcomes.Keep >= 2*day && o.GiveUp > cfg.Outcomes.Keep-day {
				d.add("outcomes.keep", "must be at least a day above outcomes.give_up of lane %s, which is %s", lc.Name, spell(o.GiveUp))
			}
		}
	}
}
