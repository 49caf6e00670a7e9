// Package browsertest drives the console in a real browser, headless Chromium: what
// no test of a handler can see. It is a module of its own, so that nothing of a
// browser stands in the product's go.mod; "make console-test" runs it, and a
// machine without Chromium fails it.
//
// A browser is started once. Each test has a tab with cookies of its own. Whatever
// the browser reports of a page as an error, a breach of the content security policy
// above all, fails the test. SCREENSHOTS=DIR keeps a picture of each page.
package browsertest
