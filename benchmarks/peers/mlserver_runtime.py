"""MLServer: a runtime around the compiled engine. For scikit-learn's pipeline MLServer has its own runtime."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.model import load


class Compiled(MLModel):
    async def load(self) -> bool:
        self.predict_proba = load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("predict_proba", self.predict_proba(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])
