package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
)

// logFlags are the flags --log-format and --log-level. An empty value leaves the choice to the
// pipeline file.
type logFlags struct {
	format, level string
	out           io.Writer // nil means stderr
}

// logger returns a logger. format and level are the settings of the pipeline file; the flags
// override them. An unknown format or level is a usageError.
func (f *logFlags) logger(format, level string) (zerolog.Logger, error) {
	if f.format != "" {
		format = f.format
	}
	if f.level != "" {
		level = f.level
	}
	parsed, err := zerolog.ParseLevel(level)
	if err != nil {
		return zerolog.Logger{}, usageError{
			fmt.Errorf("log level %q: want trace, debug, info, warn or error", level),
		}
	}
	out := f.out
	if out == nil {
		out = os.Stderr
	}
	switch format {
	case "json":
	case "", "console":
		out = zerolog.ConsoleWriter{
			Out: out, TimeFormat: "2006-01-02 15:04:05.000",
			NoColor: os.Getenv("NO_COLOR") != "" || !isTerminal(os.Stderr),
		}
	default:
		return zerolog.Logger{}, usageError{
			fmt.Errorf("log format %q: want console or json", format),
		}
	}
	zerolog.TimeFieldFormat = time.RFC3339Nano
	return zerolog.New(out).Level(parsed).With().Timestamp().Logger(), nil
}
