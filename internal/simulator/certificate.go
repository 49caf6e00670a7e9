package simulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// CertificateFile is what a client has to trust, in the folder of Certificate.
const CertificateFile = "simulator.pem"

// keyFile is the key of it, beside it.
const keyFile = "simulator.key"

// How long a certificate is good for, and how long it must be at a start.
const (
	certificateLife = 10 * 365 * 24 * time.Hour
	certificateRest = 30 * 24 * time.Hour
)

// Certificate returns the simulator's certificate for the names, DNS names or IP
// addresses. It is kept in a folder, which is made if need be, so that a simulator
// that is started again is trusted still; one that is not for all of the names, or
// ends soon, is replaced. It stands for itself alone: nobody who trusts it trusts
// what was signed with its key.
func Certificate(dir string, names []string) (tls.Certificate, error) {
	certPath, keyPath := filepath.Join(dir, CertificateFile), filepath.Join(dir, keyFile)
	cert, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err == nil && serves(cert.Leaf, names, time.Now()) {
		return cert, nil
	}
	certPEM, keyPEM, err := makeCertificate(names, time.Now())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	// The key first: of a certificate that is there its key is, too, or both are
	// made anew.
	if err := errors.Join(os.MkdirAll(dir, 0o755), replace(keyPath, keyPEM, 0o600), replace(certPath, certPEM, 0o644)); err != nil { //nolint:gosec // the certificate is for everybody
		return tls.Certificate{}, fmt.Errorf("keep the certificate: %w", err)
	}
	return tls.X509KeyPair(certPEM, keyPEM)
}

// serves reports whether a certificate is for all of the names, and for some time
// to come.
func serves(leaf *x509.Certificate, names []string, now time.Time) bool {
	for _, name := range names {
		if leaf.VerifyHostname(name) != nil {
			return false
		}
	}
	return now.After(leaf.NotBefore) && now.Add(certificateRest).Before(leaf.NotAfter)
}

func makeCertificate(names []string, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "weir simulate"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}

// replace writes a file as a whole or not at all.
func replace(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already, if all went well
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
