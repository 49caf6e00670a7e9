package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/config"
)

// cli is the command line: one field a subcommand.
type cli struct {
	Config    string `short:"c" default:"weir.yaml" env:"WEIR_CONFIG" placeholder:"FILE" help:"Configuration file."`
	Output    string `enum:"table,json" default:"table" help:"How results are printed: ${enum}."`
	Log       string `name:"log-level" enum:"debug,info,warn,error" default:"info" help:"Least serious messages on standard error: ${enum}."`
	LogFormat string `enum:"auto,json,console" default:"auto" help:"How they look: ${enum}. auto is console on a terminal, and else json."`

	Demo        demoCmd        `cmd:"" help:"Show the whole job in half a minute, on temporary state, with no account and no broker."`
	Serve       serveCmd       `cmd:"" help:"Run the lanes: turn events into conversations."`
	Check       checkCmd       `cmd:"" help:"Check the configuration, the broker and the credentials. Places no call."`
	Health      healthCmd      `cmd:"" help:"Ask the weir serve of this machine whether events can be stored there, as a container does."`
	Simulate    simulateCmd    `cmd:"" help:"Run a simulated provider on loopback."`
	Publish     publishCmd     `cmd:"" help:"Publish events to a lane and wait until the broker has them."`
	Explain     explainCmd     `cmd:"" help:"Show what would become of events, step by step, with the request that would go out. Sends nothing and needs no broker."`
	Lanes       lanesCmd       `cmd:"" help:"Show what each lane is doing."`
	Lane        laneCmd        `cmd:"" help:"Pause a lane, or let it go on."`
	Backup      backupCmd      `cmd:"" help:"Copy all that Weir keeps into a folder, while it runs or not."`
	Restore     restoreCmd     `cmd:"" help:"Put a backup back, while no weir serve runs. Every lane is held until weir release."`
	Release     releaseCmd     `cmd:"" help:"Let lanes go on that are held because state was lost."`
	Event       eventCmd       `cmd:"" help:"One event: what became of it; withdraw it before it is sent."`
	Dead        deadCmd        `cmd:"" help:"Dead letters: events that will not be tried again by themselves."`
	Doubt       doubtCmd       `cmd:"" help:"Doubts: events of which nobody knows whether the call was placed."`
	Undelivered undeliveredCmd `cmd:"" help:"Outcomes that their publisher's address did not take."`
	Contact     contactCmd     `cmd:"" help:"Who must not be contacted: block people, or allow them again."`
	Forget      forgetCmd      `cmd:"" help:"Remove what is kept of a person: events, letters, outcomes. What stays is a key, so that nobody is called twice."`
	Completion  completionCmd  `cmd:"" help:"Print a script that completes weir's words in a shell."`
	Bench       benchCmd       `cmd:"" help:"Measure this machine: events a second, time to the first byte and what an event costs, beside what the broker and the provider take alone."`
	Version     versionCmd     `cmd:"" help:"Print the version."`

	BenchBroker   benchBrokerCmd   `cmd:"" hidden:""` // processes of weir bench
	BenchProvider benchProviderCmd `cmd:"" hidden:""`
	BenchServe    benchServeCmd    `cmd:"" hidden:""`
}

// app is what every subcommand works with.
type app struct {
	ctx    context.Context //nolint:containedctx // one run of the program
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
	lg     zerolog.Logger
	level  *logLevel // of weir serve, which can change it
	flags  *cli
}

// usageError is wrong use of the command line: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errHelp ends run after help was printed.
var errHelp = errors.New("help was printed")

// run is the program. It returns nil when the command did what it says.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) (err error) {
	var flags cli
	parser, err := kong.New(&flags,
		kong.Name("weir"),
		kong.Description("Turns events into conversations at a voice-AI provider, at the rate that it takes: never one lost, never one twice."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { panic(errHelp) }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Resolvers(envResolver(getenv)),
	)
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			if p != errHelp { //nolint:errorlint // identity is meant: any other panic goes on
				panic(p)
			}
			err = nil
		}
	}()
	if len(args) > 0 && args[0] == completeWord {
		complete(parser.Model, args[1:], getenv, stdout)
		return nil
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		return advise(usageError{err})
	}
	level, err := zerolog.ParseLevel(flags.Log)
	if err != nil {
		return usageError{err}
	}
	a := &app{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv, flags: &flags}
	a.level = newLogLevel(level)
	a.lg = logger(stderr, flags.LogFormat, level, getenv)
	return advise(kctx.Run(a))
}

// envResolver gives flags their env tag's value from getenv, so that nothing
// reads the process's environment but main.
func envResolver(getenv func(string) string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			if v := getenv(name); v != "" {
				return v, nil
			}
		}
		return nil, nil
	})
}

// exitCode prints the error, if there is one to print, and returns the
// process's status.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	code := 1
	if _, ok := errors.AsType[usageError](err); ok {
		code = 2
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "weir: interrupted")
		return 130
	}
	fmt.Fprintf(stderr, "weir: %v\n", err)
	return code
}

// config reads the configuration file.
func (a *app) config() (*config.Config, error) { return a.load(config.Load) }

// brokerConfig is config without the providers' secrets, which the user of a
// command that talks to the broker alone need not have.
func (a *app) brokerConfig() (*config.Config, error) { return a.load(config.LoadBroker) }

// blindConfig is config for a command that talks to nobody: nothing that the file
// names has to be there.
func (a *app) blindConfig() (*config.Config, error) { return a.load(config.LoadBlind) }

func (a *app) load(read func(path string, getenv func(string) string) (*config.Config, error)) (*config.Config, error) {
	cfg, err := read(a.flags.Config, a.getenv)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, advised{err, "name the file with -c, or start from examples/weir.yaml"}
	}
	return cfg, err
}

// print writes v as JSON if that is asked for, and else the table that draw
// makes.
func (a *app) print(v any, draw func(w io.Writer)) error {
	if a.flags.Output == "json" {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	t := &tabulator{w: a.stdout}
	draw(t)
	return t.flush()
}
