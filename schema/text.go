package schema

import (
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Text is a compiled expression that gives a text of an event, if the event has
// it. It is safe for concurrent use.
type Text struct{ expression *expression }

// CompileText compiles an expression as those of routes are, bare or as
// ${ expression }.
func CompileText(source string) (*Text, error) {
	source, err := bare(source)
	if err != nil {
		return nil, err
	}
	x, err := compileExpression(source, false)
	if err != nil {
		return nil, err
	}
	return &Text{x}, nil
}

// Of returns the text, without spaces around it; empty if the expression gives
// nothing. What is no text is a *Refusal of ClassRequest.
func (t *Text) Of(e event.Event) (string, error) { return NewReading(e).Text(t) }

// Text is Text.Of the event.
func (r *Reading) Text(t *Text) (text string, err error) {
	defer func() {
		if p := recover(); p != nil {
			text, err = "", refuse(ClassRequest, "", "${ %s } cannot be made for this event.", t.expression.shown())
		}
	}()
	env, refusal := r.environment()
	if refusal != nil {
		return "", refusal
	}
	v, err := t.expression.run(env)
	if err != nil {
		return "", refuse(ClassRequest, "", "${ %s } fails for this %s (%s).", t.expression.shown(), env.noun, err)
	}
	if v == nil {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", refuse(ClassRequest, "", "${ %s } is no text for this %s.", t.expression.shown(), env.noun)
	}
	return strings.TrimSpace(s), nil
}

// Condition is a compiled expression that an event meets or not. It is safe for
// concurrent use.
type Condition struct{ expression *expression }

// CompileCondition compiles an expression as those of routes are, bare or as
// ${ expression }.
func CompileCondition(source string) (*Condition, error) {
	source, err := bare(source)
	if err != nil {
		return nil, err
	}
	x, err := compileExpression(source, true)
	if err != nil {
		return nil, err
	}
	return &Condition{x}, nil
}

// Met reports whether the expression gives true: nothing else will do. What cannot
// be judged is a *Refusal of ClassRequest.
func (c *Condition) Met(e event.Event) (bool, error) { return NewReading(e).Meets(c) }

// Meets is Condition.Met of the event.
func (r *Reading) Meets(c *Condition) (met bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			met, err = false, refuse(ClassRequest, "", "${ %s } cannot be judged for this event.", c.expression.shown())
		}
	}()
	env, refusal := r.environment()
	if refusal != nil {
		return false, refusal
	}
	v, err := c.expression.run(env)
	if err != nil {
		return false, refuse(ClassRequest, "", "${ %s } fails for this %s (%s).", c.expression.shown(), env.noun, err)
	}
	met, _ = v.(bool)
	return met, nil
}
