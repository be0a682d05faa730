"""A mail server with STARTTLS and a login, certificate and key in the files CERTIFICATE and KEY.

It offers SMTPUTF8 if the variable SMTPUTF8 is set. It prints each mail as a line of JSON, parsed by
Python's email package.
"""

import asyncio
import email
import email.policy
import json
import os
import ssl

from aiosmtpd.smtp import SMTP, AuthResult


class Printer:
    async def handle_DATA(self, server, session, envelope):
        text = envelope.content.decode("utf-8" if "SMTPUTF8" in os.environ else "ascii")
        mail = email.message_from_string(text, policy=email.policy.default)
        sender = mail["from"].addresses[0]
        print(
            json.dumps(
                {
                    "recipients": envelope.rcpt_tos,
                    "encrypted": session.ssl is not None,
                    "login": session.auth_data,
                    "defects": [str(defect) for defect in mail.defects],
                    "from": [sender.display_name, sender.addr_spec],
                    "to": [address.addr_spec for address in mail["to"].addresses],
                    "subject": mail["subject"],
                    "mime_version": mail["mime-version"],
                    "content_type": mail.get_content_type(),
                    "charset": mail.get_content_charset(),
                    "message_id": mail["message-id"],
                    "body": mail.get_content(),
                }
            ),
            flush=True,
        )
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b"sundown", b"of the receiver")
    return AuthResult(success=good, handled=False, auth_data=data.login.decode())


async def main():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(os.environ["CERTIFICATE"], os.environ["KEY"])
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(
            Printer(),
            enable_SMTPUTF8="SMTPUTF8" in os.environ,
            tls_context=tls,
            require_starttls=True,
            auth_required=True,
            authenticator=authenticate,
        ),
        "127.0.0.1",
        0,
    )
    print(f"listening on localhost:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
