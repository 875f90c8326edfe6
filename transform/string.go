package transform

// compileString compiles an output that writes a row as a string.
func compileString(c *compiler, w *Output, o *output) error {
	content, err := c.content("value", w.Value)
	o.writer, o.writesContent = &contentWriter{content: content}, true
	return err
}
