package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/contact/register"
	"github.com/weirhq/weir/internal/gateway"
)

// doorList blocks and allows people as weir contact does.
type doorList struct {
	register *register.Register
	cfg      *config.Config
}

// person reads whom a wish is about. A number without a country is one of the wish's
// region, else of its lane's.
func (l doorList) person(w gateway.Wish) (register.Person, error) {
	region := strings.ToUpper(w.Region)
	switch {
	case region != "" && !register.CheckRegion(region):
		return "", &gateway.ContactError{Region: true, Reason: "There is no region of this name; give one such as DE or US."}
	case region == "":
		region = (&desk{cfg: l.cfg}).region(w.Lane)
	}
	p, err := register.ParsePerson(w.Person, region)
	if err != nil {
		return "", &gateway.ContactError{Reason: fmt.Sprintf("It cannot be read: %v.", err)}
	}
	return p, nil
}

func actOf(w gateway.Wish) register.Act {
	return register.Act{By: w.By, Reason: w.Reason, Source: w.Source, At: time.Now()}
}

// Block implements gateway.List.
func (l doorList) Block(ctx context.Context, w gateway.Wish) (gateway.Listed, error) {
	p, err := l.person(w)
	if err != nil {
		return gateway.Listed{}, err
	}
	changed, err := l.register.Block(ctx, p, w.Lane, actOf(w))
	return gateway.Listed{Person: p.Masked(), Changed: changed, Blocked: true}, err
}

// Allow implements gateway.List.
func (l doorList) Allow(ctx context.Context, w gateway.Wish) (gateway.Listed, error) {
	p, err := l.person(w)
	if err != nil {
		return gateway.Listed{}, err
	}
	left, changed, err := l.register.Allow(ctx, p, w.Lane, actOf(w))
	return gateway.Listed{Person: p.Masked(), Changed: changed, Blocked: left.Everywhere != nil || left.Holds(w.Lane)}, err
}
