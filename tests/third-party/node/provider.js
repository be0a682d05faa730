// An OpenID provider. It signs with the private key in the file KEY, published under the id KEY_ID.
//
// Besides the provider itself: POST /test/tokens/CLIENT issues an access token to a client,
// GET /test/tokens/TOKEN responds 404 if it has been revoked. GET /test/handles/SESSION stands for
// an application that keeps the token of a session, which POST /test/handles/SESSION issues.
//
// Tokens of the client `kafka` are JWTs for the audience `kafka` that live for TOKEN_SECONDS;
// GET /test/issued/CLIENT counts the tokens that a client has requested. With TLS_PORT, it also listens
// there with the certificate and the key in the files TLS_CERTIFICATE and TLS_KEY.
//
// Users of the client `console`, whose address is CONSOLE, are in the groups of GROUPS, a JSON object.

import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

import Provider from 'oidc-provider';

const { KEY, KEY_ID, APPLICATION = 'http://localhost:1', REDIRECT_PATH = '/callback' } = process.env;
const { TOKEN_SECONDS = '600', TLS_PORT, TLS_CERTIFICATE, TLS_KEY } = process.env;
const { CONSOLE = 'http://localhost:2', GROUPS = '{}' } = process.env;
const key = createPrivateKey(readFileSync(KEY));
const algorithm = key.asymmetricKeyType === 'rsa' ? 'RS256' : 'ES256';
const jwk = { ...key.export({ format: 'jwk' }), kid: KEY_ID, alg: algorithm, use: 'sig' };
const publicJwk = { ...createPublicKey(key).export({ format: 'jwk' }), kid: KEY_ID };

const service = {
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  id_token_signed_response_alg: algorithm,
};
const clients = [
  {
    client_id: 'shop',
    client_secret: 'secret of the shop',
    redirect_uris: [APPLICATION + REDIRECT_PATH],
    id_token_signed_response_alg: algorithm,
    backchannel_logout_uri: APPLICATION + '/backchannel-logout',
    backchannel_logout_session_required: true,
  },
  {
    client_id: 'console',
    client_secret: 'secret of the console',
    redirect_uris: [CONSOLE + '/login/oidc/callback'],
    id_token_signed_response_alg: algorithm,
    backchannel_logout_uri: CONSOLE + '/login/oidc/backchannel-logout',
    backchannel_logout_session_required: true,
  },
  { ...service, client_id: 'service', client_secret: 'secret of the service' },
  { ...service, client_id: 'kafka', client_secret: 'secret of kafka', scope: 'kafka' },
  {
    ...service,
    client_id: 'service-with-key',
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: algorithm,
    jwks: { keys: [publicJwk] },
  },
];

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://localhost:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients,
    jwks: { keys: [jwk] },
    cookies: { keys: ['for tests only'] },
    enabledJWA: { idTokenSigningAlgValues: [algorithm] },
    features: {
      backchannelLogout: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (context, client) => (client?.clientId === 'kafka' ? 'urn:kafka' : undefined),
        getResourceServerInfo: () => ({
          scope: 'kafka',
          audience: 'kafka',
          accessTokenFormat: 'jwt',
          accessTokenTTL: Number(TOKEN_SECONDS),
          jwt: { sign: { alg: algorithm } },
        }),
      },
      revocation: { enabled: true },
    },
    pkce: { required: () => false },
    scopes: ['openid', 'offline_access', 'kafka', 'groups'],
    claims: { openid: ['sub'], groups: ['groups'] },
    findAccount: (context, accountId) => ({
      accountId,
      claims: () => ({ sub: accountId, groups: JSON.parse(GROUPS)[accountId] }),
    }),
    // The relying parties of tests are on this machine, which it would not call.
    fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
    // Users consent to everything.
    async loadExistingGrant(context) {
      const { client, session } = context.oidc;
      const grant = new context.oidc.provider.Grant({
        clientId: client.clientId,
        accountId: session.accountId,
      });
      grant.addOIDCScope('openid groups');
      await grant.save();
      return grant;
    },
  });
  const handle = provider.callback();
  provider.on('client_credentials.issued', ({ clientId }) => {
    issued.set(clientId, (issued.get(clientId) ?? 0) + 1);
  });
  if (TLS_PORT !== undefined) {
    const identity = { cert: readFileSync(TLS_CERTIFICATE), key: readFileSync(TLS_KEY) };
    createTlsServer(identity, handle).listen(Number(TLS_PORT), '127.0.0.1');
  }
  server.on('request', (request, response) => {
    const [, action, value] = request.url.match(/^\/test\/(tokens|handles|issued)\/(.+)$/) ?? [];
    if (action === undefined) return handle(request, response);
    const answer = ACTIONS[`${request.method} ${action}`](provider, value);
    return answer.then(([status, text]) => response.writeHead(status).end(text));
  });
  console.log(`listening on ${issuer}`);
});

const kept = new Map();
const issued = new Map();
const ACTIONS = {
  'POST tokens': async (provider, client) => [200, await issue(provider, client)],
  'GET tokens': async (provider, value) => [
    (await provider.ClientCredentials.find(value)) ? 200 : 404,
    '',
  ],
  'POST handles': async (provider, session) => {
    kept.set(session, await issue(provider, 'service'));
    return [200, kept.get(session)];
  },
  'GET issued': async (provider, client) => [200, String(issued.get(client) ?? 0)],
  'GET handles': async (provider, session) =>
    kept.has(session) ? [200, JSON.stringify({ access_token: kept.get(session) })] : [404, ''],
};

async function issue(provider, clientId) {
  const client = await provider.Client.find(clientId);
  return new provider.ClientCredentials({ client }).save();
}
