// An application with express-openid-connect that takes back-channel logouts, at PORT for the
// provider ISSUER. / wants a login and shows the claims of the ID token, /status needs none.

import express from 'express';
import openid from 'express-openid-connect';
import memorystore from 'memorystore';

const { ISSUER, PORT, ALGORITHM } = process.env;
const { auth, requiresAuth } = openid;
const Store = memorystore(auth);

const application = express();
application.use(
  auth({
    authRequired: false,
    authorizationParams: { response_type: 'code', scope: 'openid' },
    backchannelLogout: { store: new Store({ checkPeriod: 3_600_000 }) },
    baseURL: `http://localhost:${PORT}`,
    clientAuthMethod: 'client_secret_basic',
    clientID: 'shop',
    clientSecret: 'secret of the shop',
    idTokenSigningAlg: ALGORITHM,
    issuerBaseURL: ISSUER,
    secret: 'of the cookies of a test, long enough',
  }),
);
application.get('/', requiresAuth(), (request, response) => response.json(request.oidc.idTokenClaims));
application.get('/status', (request, response) => {
  response.json({ loggedIn: request.oidc.isAuthenticated() });
});
application.listen(Number(PORT), '127.0.0.1', () => {
  console.log(`listening on http://localhost:${PORT}`);
});
