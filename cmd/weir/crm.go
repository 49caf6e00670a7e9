package main

import (
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/gateway"
)

// crms are the CRMs that lanes hear, by lane.
func crms(cfg *config.Config) map[string]gateway.CRM {
	all := make(map[string]gateway.CRM)
	for _, ac := range cfg.Accounts {
		for _, lc := range ac.Lanes {
			if lc.CRM != nil {
				all[lc.Name] = crm(lc.CRM, lc)
			}
		}
	}
	return all
}

func crm(c *config.CRM, lane config.Lane) gateway.CRM {
	out := gateway.CRM{
		Kind: c.Kind, Secret: c.Secret, Routes: lane.Routes, App: c.AppSecret,
		User: c.User, Password: c.Password, Header: c.Header, Key: c.APIKey, Mapping: c.Mapping,
	}
	if h := c.HMAC; h != nil {
		out.HMAC = new(gateway.HMAC(*h))
	}
	return out
}
