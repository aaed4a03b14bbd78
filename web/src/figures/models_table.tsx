import type { Model } from "../api/server_state.ts";
import { number, roundPercent, seconds } from "../format.ts";
import { texts } from "../texts.ts";

const { requests, cacheUsed, answers, tokensOut, firstToken } = texts.server;

/** All models that are served, and how each is. */
export function ModelsTable({ models, hasFigures }: { models: readonly Model[]; hasFigures: boolean }) {
  return (
    <section class="models">
      <h2>{texts.server.models}</h2>
      <div class="table-scroll" tabIndex={0} role="region" aria-label={texts.server.models}>
        <table>
          <thead>
            <tr>
              <th scope="col">{texts.server.model}</th>
              {hasFigures && <th scope="col">{texts.server.state}</th>}
              <th scope="col" class="of-number">
                {texts.server.context}
              </th>
              {hasFigures && (
                <>
                  {[requests, cacheUsed, answers, tokensOut, firstToken].map((title) => (
                    <th key={title} scope="col" class="of-number">
                      {title}
                    </th>
                  ))}
                </>
              )}
            </tr>
          </thead>
          <tbody>
            {models.map((model) => (
              <tr key={model.name}>
                <th scope="row">
                  {model.name}
                  {model.isGuard === true && <small> {texts.server.guards}</small>}
                </th>
                {hasFigures && (
                  <td>
                    <State model={model} />
                  </td>
                )}
                <td class="of-number">{model.context === undefined ? texts.server.nothing : number(model.context)}</td>
                {hasFigures && <Counts model={model} />}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function State({ model }: { model: Model }) {
  return (
    <span class="state">
      <span class={`dot dot-${model.state}`} aria-hidden="true" />
      {texts.models.states[model.state]}
    </span>
  );
}

function Counts({ model }: { model: Model }) {
  const { counts } = model;
  const value = (said: string | undefined) => <td class="of-number">{said ?? texts.server.nothing}</td>;
  return (
    <>
      {value(
        counts === undefined
          ? undefined
          : counts.waiting > 0
            ? `${number(counts.running)} + ${number(counts.waiting)}`
            : number(counts.running),
      )}
      {value(counts === undefined ? undefined : roundPercent(counts.cacheUsed))}
      {value(counts === undefined ? undefined : number(counts.answers))}
      {value(counts === undefined ? undefined : number(counts.completionTokens))}
      {value(counts === undefined || counts.answers === 0 ? undefined : seconds(counts.firstTokenS))}
    </>
  );
}
