/** The reference of the API, to be tried out. Served at /docs; everything it needs comes from this server. */
import "swagger-ui-dist/swagger-ui.css";
// @ts-expect-error: the bundle has no types of its own
import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";

SwaggerUI({ url: "openapi.json", dom_id: "#docs", deepLinking: true, defaultModelsExpandDepth: 0, tryItOutEnabled: true });
