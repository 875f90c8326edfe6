package filesource

import (
	"context"

	"rowfall/binlog/ddl"
	"rowfall/pipelines/source"
)

// CheckWritten implements source.WriteChecker. Binlog files do not show triggers and views.
func (f *Source) CheckWritten(context.Context, ddl.TableName) (why string, err error) {
	return "binlog files do not show whether it is a view or has triggers", nil
}

// CheckRead implements source.WriteChecker.
func (f *Source) CheckRead(context.Context, ddl.TableName) (why string, err error) {
	return "binlog files do not show whether it is a view", nil
}

// Cascades implements source.WriteChecker as UnloggedCascades does.
func (f *Source) Cascades(
	ctx context.Context, tables []ddl.TableName,
) ([]source.UnloggedCascade, error) {
	return f.UnloggedCascades(ctx, tables)
}
