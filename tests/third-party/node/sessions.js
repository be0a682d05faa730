// An application with express-session and connect-redis, on the server REDIS. POST / logs in and
// responds with the session id, GET / responds 401 without a session.

import { RedisStore } from 'connect-redis';
import express from 'express';
import session from 'express-session';
import { createClient } from 'redis';

const client = await createClient({ url: process.env.REDIS }).connect();
const application = express();
application.use(
  session({
    store: new RedisStore({ client }),
    secret: 'of a test',
    resave: false,
    saveUninitialized: false,
  }),
);
application.post('/', (request, response) => {
  request.session.user = 'jane';
  response.send(request.sessionID);
});
application.get('/', (request, response) => {
  response.sendStatus(request.session.user ? 200 : 401);
});
const server = application.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
