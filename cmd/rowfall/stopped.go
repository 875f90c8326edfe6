package main

import (
	"context"
	"errors"

	"github.com/rs/zerolog"

	"rowfall/pipelines"
	"rowfall/pipelines/file"
)

// inDirectory executes do on the directory of a pipeline that does not run.
func inDirectory(
	ctx context.Context, path string,
	do func(ctx context.Context, s *pipelines.Stopped) error,
) (err error) {
	c, err := file.Load(path)
	if err != nil {
		return usageError{err}
	}
	s, err := pipelines.OpenStopped(*c, zerolog.Nop())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return do(ctx, s)
}
