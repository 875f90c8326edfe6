// Package holds collects the causes that keep a pipeline or its jobs from making progress although
// nothing has failed: a lock in MySQL, a query without an answer, a load above a limit. Status,
// INFO and metrics show them.
//
// Every package of pipelines may import it. It imports no other package of rowfall.
package holds
