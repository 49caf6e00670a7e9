"""Sends a file as a workflow of HubSpot would: signed by its app (signature v3).

usage: python3 hubspot.py FILE ADDRESS      the app's secret is in HUBSPOT_APP_SECRET
"""
import base64
import hashlib
import hmac
import os
import sys
import time
import urllib.error
import urllib.request

file, address = sys.argv[1:]
with open(file, "rb") as f:
    body = f.read()
stamp = str(int(time.time() * 1000))
signed = b"POST" + address.encode() + body + stamp.encode()
signature = hmac.new(os.environ["HUBSPOT_APP_SECRET"].encode(), signed, hashlib.sha256).digest()
request = urllib.request.Request(address, data=body, headers={
    "Content-Type": "application/json",
    "X-HubSpot-Request-Timestamp": stamp,
    "X-HubSpot-Signature-v3": base64.b64encode(signature).decode(),
})
try:
    with urllib.request.urlopen(request) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as refused:
    sys.exit(f"{refused.code} {refused.read().decode()}")
