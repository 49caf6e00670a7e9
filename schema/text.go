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
func (t *Text) Of(e event.Event) (text string, err error) {
	defer func() {
		if p := recover(); p != nil {
			text, err = "", refuse(ClassRequest, "", "${ %s } cannot be made for this event.", t.expression.shown())
		}
	}()
	env, refusal := newEnvironment(e)
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
