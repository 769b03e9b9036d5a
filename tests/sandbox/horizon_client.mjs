// Drives the npm Horizon client against a sandbox and prints what happened as one JSON object.
import { createRequire } from "node:module";

const require = createRequire(process.argv[4]);
const { Asset, BASE_FEE, Horizon, Keypair, Memo, Operation, TransactionBuilder } = require("@stellar/stellar-sdk");
const [url, networkPassphrase] = process.argv.slice(2, 4);
const server = new Horizon.Server(url, { allowHttp: true });
const codes = (error) => error.response?.data?.extras?.result_codes ?? String(error);

async function pay(signer, destination, amount, { bump = 0, memo = Memo.none() } = {}) {
  const account = await server.loadAccount(destination.from);
  if (bump) account.incrementSequenceNumber();
  const transaction = new TransactionBuilder(account, { fee: BASE_FEE, networkPassphrase, memo })
    .addOperation(Operation.payment({ destination: destination.to, asset: Asset.native(), amount }))
    .setTimeout(60)
    .build();
  transaction.sign(signer);
  return server.submitTransaction(transaction);
}

const payer = Keypair.random();
const shop = Keypair.random();
const way = { from: payer.publicKey(), to: shop.publicKey() };
const out = {};
await server.friendbot(way.from).call();
await server.friendbot(way.to).call();
out.balance = (await server.loadAccount(way.from)).balances.at(-1).balance;

const streamed = new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error("the stream stayed silent")), 15000).unref();
  const close = server.payments().forAccount(way.to).cursor("0").stream({
    onmessage: (record) => { if (record.type === "payment") { close(); resolve(record.amount); } },
    onerror: () => undefined,
  });
});
const paid = await pay(payer, way, "12.5", { memo: Memo.id("482913077415") });
out.successful = paid.successful;
out.memo = [paid.memo_type, paid.memo];
out.streamed = await streamed;
out.badSequence = await pay(payer, way, "1", { bump: 1 }).catch(codes);
out.badSignature = await pay(Keypair.random(), way, "1").catch(codes);
out.underfunded = await pay(payer, way, "99999").catch(codes);
const page = await server.payments().forAccount(way.to).order("asc").limit(1).call();
out.first = page.records[0].type;
out.second = (await page.next()).records[0].amount;
out.transaction = (await page.records[0].transaction()).operation_count;
out.missing = await server.loadAccount(Keypair.random().publicKey()).catch((error) => error.constructor.name);
console.log(JSON.stringify(out));
process.exit(0);
