// An aedes on the loopback: node broker.mjs PORT [USER PASSWORD]
import { createServer } from 'node:net'
import { Aedes } from 'aedes'

const [port, user, password] = process.argv.slice(2)
const options = user === undefined ? {} : {
  authenticate(_client, name, word, done) {
    if (name === user && word?.toString() === password) {
      done(null, true)
    } else {
      done(Object.assign(new Error('refused'), { returnCode: 4 }), false)
    }
  }
}
const broker = await Aedes.createBroker(options)
const server = createServer(broker.handle)
server.on('error', (error) => {
  console.error(String(error))
  process.exit(1)
})
server.listen(Number(port), '127.0.0.1', () => console.log(`listening on ${port}`))
