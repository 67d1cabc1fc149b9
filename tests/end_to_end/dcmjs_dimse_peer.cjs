// dcmjs-dimse as another party: echoes, stores a file, finds, gets and has moved what it has stored.
//
//     node dcmjs_dimse_peer.cjs PORT DESTINATION_PORT FILE RESULT
//
// Writes JSON to RESULT: the statuses of each service, what was found, and the data sets as hexadecimal digits: `sent` by
// C-STORE, `got` by C-GET, `moved` by C-MOVE to a server of its own, whose AE title is DEST.
'use strict';

const { writeFileSync } = require('fs');
const { Client, Dataset, Scp, Server, constants, log, requests, responses } = require('dcmjs-dimse');
const { PresentationContextResult, TransferSyntax } = constants;
const { CEchoRequest, CFindRequest, CGetRequest, CMoveRequest, CStoreRequest } = requests;

const [port, destinationPort, file, result] = process.argv.slice(2);
log.setLevel('silent');

// The bytes of data sets as they come, before they are taken apart: by one method of both client and server.
const received = [];
const network = Object.getPrototypeOf(Scp.prototype);
const taken = network.createDatasetFromStoreWritableStream;
network.createDatasetFromStoreWritableStream = function (stream, context, callback) {
  received.push(stream.toBuffer().toString('hex'));
  return taken.call(this, stream, context, callback);
};

function stored(request, callback) {
  const response = responses.CStoreResponse.fromRequest(request);
  response.setStatus(constants.Status.Success);
  callback(response);
}

class Destination extends Scp {
  associationRequested(association) {
    for (const { id } of association.getPresentationContexts()) {
      const context = association.getPresentationContext(id);
      context.setResult(PresentationContextResult.Accept, context.getTransferSyntaxUids()[0]);
    }
    this.sendAssociationAccept();
  }
  cStoreRequest(request, callback) {
    stored(request, callback);
  }
  associationReleaseRequested() {
    this.sendAssociationReleaseResponse();
  }
}

// One request on an association of its own: every status, and the data sets of the responses.
function ask(request) {
  return new Promise((resolve, reject) => {
    const statuses = [];
    const found = [];
    const client = new Client();
    request.on('response', (response) => {
      statuses.push(response.getStatus());
      if (response.hasDataset()) found.push(response.getDataset().getElements());
    });
    client.on('cStoreRequest', stored);
    client.on('networkError', reject);
    client.on('associationRejected', () => reject(new Error('rejected')));
    client.on('associationReleased', () => resolve({ statuses, found }));
    client.addRequest(request);
    client.send('127.0.0.1', Number(port), 'DCMJS', 'PACSBRIDGE', {});
  });
}

async function main() {
  const said = { echo: await ask(new CEchoRequest()) };
  // In the transfer syntax that it proposes first: it would change into that on its way.
  const instance = new Dataset(Dataset.fromFile(file).getElements(), TransferSyntax.ImplicitVRLittleEndian);
  const { StudyInstanceUID: study, PatientID: patient } = instance.getElements();
  said.sent = instance.getDenaturalizedDataset().toString('hex');
  said.store = await ask(new CStoreRequest(instance));
  const keys = { StudyInstanceUID: study, PatientID: patient, PatientName: '', Modality: '' };
  const counts = { NumberOfStudyRelatedInstances: '', ModalitiesInStudy: '' };
  const deadline = Date.now() + 60000;
  do {
    said.studies = await ask(CFindRequest.createStudyFindRequest({ ...keys, ...counts }));
  } while (!said.studies.found.length && Date.now() < deadline);
  said.series = await ask(CFindRequest.createSeriesFindRequest({ ...keys, SeriesInstanceUID: '' }));
  said.get = await ask(CGetRequest.createStudyGetRequest(study));
  said.got = received.splice(0);
  const server = new Server(Destination);
  server.on('networkError', (fault) => console.error(fault));
  server.listen(Number(destinationPort));
  said.move = await ask(CMoveRequest.createStudyMoveRequest('DEST', study));
  said.moved = received.splice(0);
  server.close();
  writeFileSync(result, JSON.stringify(said));
  process.exit(0);
}

main().catch((fault) => {
  console.error(fault);
  process.exit(1);
});
